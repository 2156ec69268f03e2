"""Pipecat as a voice agent: WebRTC in, VAD, speech to text and text to speech by OpenAI's endpoints, WebRTC out.

The VAD is Pipecat's own before the network that the gateway has, too (`benches/vad`), or with `silero` in the library's place the one that Pipecat comes with.
"""

import asyncio
import ctypes
import sys

import aioice.ice
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.frames.frames import TranscriptionFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.stt import OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from pipecat.workers.runner import WorkerRunner

import offers

logger.remove()
logger.add(sys.stderr, level="ERROR")
sessions = set()
host, port, service, hangover, vad_library = offers.arguments(__doc__, "service", "hangover", "vad")


def network():
    """The gateway's network, or none."""
    if vad_library == "silero":
        return None
    library = ctypes.CDLL(vad_library)
    library.vad_begin.restype = ctypes.c_void_p
    library.vad_hear.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.vad_hear.restype = ctypes.c_float
    library.vad_end.argtypes = [ctypes.c_void_p]
    return library


earshot = network()


class EarshotVADAnalyzer(VADAnalyzer):
    """Pipecat's decisions upon the gateway's network."""

    def __init__(self, params):
        super().__init__(params=params)
        self._detector = earshot.vad_begin()

    def num_frames_required(self):
        return 256

    def voice_confidence(self, buffer):
        return earshot.vad_hear(self._detector, buffer)

    async def cleanup(self):
        await super().cleanup()
        earshot.vad_end(self._detector)


def analyzer():
    # The gateway's threshold of probability. Pipecat's own, of a loudness, stays.
    if earshot is None:
        return SileroVADAnalyzer(params=VADParams(stop_secs=float(hangover)))
    return EarshotVADAnalyzer(VADParams(stop_secs=float(hangover), confidence=0.5))


class SayIt(FrameProcessor):
    """What was understood is said."""

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            frame = TTSSpeakFrame(frame.text)
        await self.push_frame(frame, direction)


async def answer(offer):
    connection = SmallWebRTCConnection()
    await connection.initialize(sdp=offer, type="offer")
    params = TransportParams(audio_in_enabled=True, audio_out_enabled=True)
    transport = SmallWebRTCTransport(webrtc_connection=connection, params=params)
    vad = VADProcessor(vad_analyzer=analyzer())
    stt = OpenAISTTService(base_url=f"{service}/v1", api_key="none")
    tts = OpenAITTSService(base_url=f"{service}/v1", api_key="none")
    pipeline = Pipeline([transport.input(), vad, stt, SayIt(), tts, transport.output()])
    rates = PipelineParams(audio_in_sample_rate=16_000, audio_out_sample_rate=24_000)
    worker = PipelineWorker(pipeline, params=rates, idle_timeout_secs=None)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    session = asyncio.create_task(runner.run())
    sessions.add(session)
    session.add_done_callback(sessions.discard)
    await connection.connect()
    return connection.get_answer()["sdp"]


# aioice leaves loopback out.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [host]
asyncio.run(offers.serve(host, port, answer))
