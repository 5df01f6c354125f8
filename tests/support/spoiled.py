"""A proxy in front of a worker that breaks rules of the wire on purpose."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
from grpc_health.v1 import health_pb2
from metasim.v1 import render_pb2 as pb
from support.servers import METHOD

#: Changes a reply; yields what is sent in its place.
Fault = Callable[[pb.RenderReply], Iterator[pb.RenderReply]]


class Proxy(grpc.GenericRpcHandler):
    """Passes calls on to a worker, and spoils what comes back."""

    def __init__(self, address: str, spoil: Fault, description: Callable[[pb.DescribeResponse], None]) -> None:
        self._channel = grpc.insecure_channel(address)
        self._spoil = spoil
        self._description = description

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        name = handler_call_details.method.rsplit("/")[-1]
        if name == "Render":
            return grpc.stream_stream_rpc_method_handler(self._render)
        if name == "Describe":
            return grpc.unary_unary_rpc_method_handler(self._describe)
        serving = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING).SerializeToString()
        return grpc.unary_unary_rpc_method_handler(lambda request, context: serving)  # noqa: ARG005

    def _render(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            for message in self._channel.stream_stream(METHOD)(requests):
                replies = pb.RenderReplies.FromString(message).replies
                spoiled = [each for reply in replies for each in self._spoil(reply)]
                yield pb.RenderReplies(replies=spoiled).SerializeToString()
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())

    def _describe(self, request: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: ARG002
        method = METHOD.removesuffix("Render") + "Describe"
        found = pb.DescribeResponse.FromString(self._channel.unary_unary(method)(request))
        self._description(found)
        return found.SerializeToString()


@contextlib.contextmanager
def spoiled(address: str, spoil: Fault, description: Callable[[pb.DescribeResponse], None]) -> Iterator[str]:
    """Run a proxy that spoils replies and descriptions."""
    proxy = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    proxy.add_generic_rpc_handlers((Proxy(address, spoil, description),))
    port = proxy.add_insecure_port("127.0.0.1:0")
    proxy.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        proxy.stop(grace=None).wait()


def honest(reply: pb.RenderReply) -> Iterator[pb.RenderReply]:
    yield reply


def renamed(reply: pb.RenderReply) -> Iterator[pb.RenderReply]:
    """Answer duplicates as if they were malformed."""
    if reply.error.code == pb.CODE_ALREADY_EXISTS:
        reply.error.code = pb.CODE_INVALID_ARGUMENT
    yield reply


def nothing(description: pb.DescribeResponse) -> None:
    """Change nothing."""
