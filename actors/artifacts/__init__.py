"""What agents leave behind as files of a run."""
