"""The simulation of a ComfyUI server, without I/O: it takes inputs and times, and returns answers and events."""
