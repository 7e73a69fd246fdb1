"""The shell: what turns HTTP and WebSocket traffic into calls of the engine, and its answers into bytes."""
