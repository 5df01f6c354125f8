"""The gRPC service in front of the engine processes."""
