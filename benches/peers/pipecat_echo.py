"""Pipecat as an echo server: its WebRTC transport in, one processor with a gain, its transport out."""

import asyncio
import sys

import aioice.ice
import numpy as np
from loguru import logger
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from pipecat.workers.runner import WorkerRunner

import offers

logger.remove()
logger.add(sys.stderr, level="ERROR")
sessions = set()


class Gain(FrameProcessor):
    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            louder = (np.frombuffer(frame.audio, np.int16) * 0.9).astype(np.int16)
            frame = OutputAudioRawFrame(
                audio=louder.tobytes(), sample_rate=frame.sample_rate, num_channels=frame.num_channels
            )
        await self.push_frame(frame, direction)


async def answer(offer):
    connection = SmallWebRTCConnection()
    await connection.initialize(sdp=offer, type="offer")
    params = TransportParams(audio_in_enabled=True, audio_out_enabled=True)
    transport = SmallWebRTCTransport(webrtc_connection=connection, params=params)
    pipeline = Pipeline([transport.input(), Gain(), transport.output()])
    worker = PipelineWorker(pipeline, params=PipelineParams(), idle_timeout_secs=None)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    session = asyncio.create_task(runner.run())
    sessions.add(session)
    session.add_done_callback(sessions.discard)
    await connection.connect()
    return connection.get_answer()["sdp"]


host, port = offers.arguments(__doc__)
# aioice leaves loopback out.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [host]
asyncio.run(offers.serve(host, port, answer))
