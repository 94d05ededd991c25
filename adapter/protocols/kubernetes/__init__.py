"""Custom resources in the API server of Kubernetes; the library is only loaded when it is asked."""
