"""The process and the machine: devices, threads, signals, files, other processes."""
