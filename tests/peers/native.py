"""The native messages for Python peers, learnt from the gateway itself through reflection."""

import wave

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "tidegate.v1.Gateway"


class Native:
    """Message classes by their short name: `Native(channel).Open(pipeline="echo")`."""

    def __init__(self, channel):
        self.channel = channel
        self.pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self.service = self.pool.FindServiceByName(SERVICE)

    def __getattr__(self, name):
        descriptor = self.pool.FindMessageTypeByName("tidegate.v1." + name)
        return message_factory.GetMessageClass(descriptor)

    def enum(self, name, value):
        """A number of an enum by its names."""
        return self.pool.FindEnumTypeByName("tidegate.v1." + name).values_by_name[value].number

    def call(self, method, metadata=None):
        """A callable for a method, its kind and types as the descriptor says."""
        about = self.service.methods_by_name[method]
        streams = about.client_streaming, about.server_streaming
        make = {
            (False, False): self.channel.unary_unary,
            (True, True): self.channel.stream_stream,
        }[streams]
        request = message_factory.GetMessageClass(about.input_type)
        response = message_factory.GetMessageClass(about.output_type)
        return make(
            f"/{SERVICE}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def pcm(self, rate=16_000):
        """The format of plain 16-bit mono audio."""
        codec = self.enum("AudioCodec", "AUDIO_CODEC_PCM_S16")
        return self.AudioFormat(codec=codec, sample_rate=rate, channels=1)

    def audio_frames(self, port, chunks, format, frame_us=20_000):
        """Frames of audio, numbered from 1, one after another in media time."""
        for at, chunk in enumerate(chunks):
            yield self.Frame(
                port=port, seq=at + 1, media_time=at * frame_us, audio=self.Audio(format=format, data=chunk)
            )

    def ports(self, ports):
        """Names of the first audio input and the first audio output."""
        audio = self.enum("Kind", "KIND_AUDIO")
        first = lambda way: next(p.name for p in ports if p.kind == audio and p.direction == self.enum("Direction", way))
        return first("DIRECTION_INPUT"), first("DIRECTION_OUTPUT")


def connect(address):
    """A channel that takes messages of 64 MiB: tensors are large."""
    size = 64 << 20
    options = [("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", size)]
    channel = grpc.insecure_channel(address, options)
    grpc.channel_ready_future(channel).result(timeout=10)
    return channel


def chunks_of(path, milliseconds=20):
    """A 16-bit mono WAV as a list of whole chunks of so many milliseconds, and its rate."""
    with wave.open(path) as file:
        assert file.getsampwidth() == 2 and file.getnchannels() == 1, path
        rate = file.getframerate()
        data = file.readframes(file.getnframes())
    size = rate * milliseconds // 1000 * 2
    return [data[i : i + size] for i in range(0, len(data) - size + 1, size)], rate
