"""The demo: python app.py [--model M] [--host H] [--port P] [--share]"""

import argparse
import socket
import sys


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Open the demo in a browser: which emotion is in this speech?")
    parser.add_argument("--model", help="a folder or a Hub name (default: the embedded checkpoint)")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="(default 7860)")
    parser.add_argument("--share", action="store_true", help="also make a public address, through Gradio's servers")
    options = parser.parse_args(arguments)
    if not 0 < options.port < 65_536:
        parser.error(f"--port is {options.port}; choose 1 to 65535.")
    try:
        require_free(options.host, options.port)
    except OSError as error:
        address = f"{options.host}:{options.port}"
        print(f"Cannot serve on {address}: {error.strerror}. Choose another with --host or --port.", file=sys.stderr)
        return 1
    return serve(options)


def require_free(host: str, port: int) -> None:
    """Raises OSError if nothing can listen there; asked before the model is loaded, which takes seconds."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def serve(options: argparse.Namespace) -> int:
    # Imported here because Gradio and torch take seconds, which --help and a wrong port need not wait for.
    from ser_hf import EmotionClassifier, SerError
    from ser_hf.demo.page import build_demo, launch_demo, warm_up

    try:
        classifier = EmotionClassifier.from_pretrained(options.model)
    except SerError as error:
        print(error, file=sys.stderr)
        return 1
    warm_up(classifier)
    demo = build_demo(classifier)
    print(f"Open {launch_demo(demo, options.host, options.port, options.share)}", flush=True)
    demo.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
