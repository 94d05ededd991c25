"""Where results come from: the output folders of jobs."""
