"""Tools: functions that a model may have called, as it is told of them and as they are called."""
