"""REST, WebSocket events, health and metrics over HTTP."""
