"""Pure rules: no I/O, no clock, no Trio scheduling. Time comes in as an argument."""
