"""Pipecat as a voice agent: WebRTC in, Silero's VAD, speech to text and text to speech by OpenAI's endpoints, WebRTC out."""

import asyncio
import sys

import aioice.ice
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
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
host, port, service, hangover = offers.arguments(__doc__, "service", "hangover")


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
    vad = VADProcessor(vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=float(hangover))))
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
