"""What is spoken with the outside: DIMSE, HTTP and WebSocket, pipeline platforms."""
