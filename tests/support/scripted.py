"""Workers that follow a script instead of rendering, for what real ones do too seldom."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
from metasim.v1 import render_pb2 as pb

Script = Callable[[Iterator[pb.RenderRequest], grpc.ServicerContext], Iterator[pb.RenderReply]]


@contextlib.contextmanager
def scripted(script: Script, *, port: int = 0) -> Iterator[str]:
    """A worker whose streams run `script`; its address."""
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])

    def one_by_one(messages: Iterator[pb.RenderRequests], context: grpc.ServicerContext) -> Iterator[pb.RenderReplies]:
        requests = (request for message in messages for request in message.requests)
        for reply in script(requests, context):
            yield pb.RenderReplies(replies=[reply])

    handler = grpc.stream_stream_rpc_method_handler(
        one_by_one,
        request_deserializer=pb.RenderRequests.FromString,
        response_serializer=pb.RenderReplies.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("metasim.v1.Renderer", {"Render": handler}),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()


def slots(count: int) -> pb.RenderReply:
    """The worker wants that many tasks."""
    return pb.RenderReply(slots=pb.Slots(count=count))


def rendered(task_id: str) -> pb.RenderReply:
    """A result that says which task it belongs to."""
    box = pb.Box(node=f"node of {task_id}")
    return pb.RenderReply(result=pb.RenderResult(id=task_id, boxes=[box], timing=pb.Timing(renders=1)))


def failed(task_id: str, code: pb.Code.ValueType, message: str) -> pb.RenderReply:
    """A task that came to nothing."""
    return pb.RenderReply(error=pb.TaskError(id=task_id, code=code, message=message))
