"""The gRPC service in front of the processes."""
