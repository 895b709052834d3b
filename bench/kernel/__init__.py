"""The actor kernel beside a bare trio memory channel, other actor libraries, and Erlang."""
