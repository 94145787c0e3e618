"""The demo: python app.py [--model M] [--host H] [--port P] [--share] …; every option is also a variable SER_…"""

import argparse
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TRUE, FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.space is not None:
        from ser_hf.demo.space import write_space
        from ser_hf.errors import exit_code

        return exit_code(lambda: write_space(options.space, Path(__file__).resolve().parent))
    try:
        require_free(options.host, options.port)
    except OSError as error:
        address = f"{options.host}:{options.port}"
        print(f"Cannot serve on {address}: {error.strerror}. Choose another with --host or --port.", file=sys.stderr)
        return 1
    return serve(options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Open the demo in a browser: which emotion is in this speech?",
        epilog="Gradio's own GRADIO_SERVER_NAME and GRADIO_SERVER_PORT hold where --host and --port are not set; "
        "GRADIO_ROOT_PATH, GRADIO_TEMP_DIR and its other variables hold as Gradio documents them.",
    )

    def add(option: str, text: str, default: object = None, **kind) -> None:
        """An option whose default comes from its variable, if that is set."""
        variable = "SER_" + option.removeprefix("--").replace("-", "_").upper()
        shown = "" if default in (None, False) else f"; default {default}"
        value = os.environ.get(variable) or default
        parser.add_argument(option, default=value, help=f"{text} ({variable}{shown})", **kind)

    def add_switch(option: str, text: str) -> None:
        variable = "SER_" + option.removeprefix("--").upper()
        value = os.environ.get(variable, "").lower()
        if value not in TRUE + FALSE:
            parser.error(f"{variable} is {value!r}; set it to 1 or 0.")
        parser.add_argument(option, action="store_true", default=value in TRUE, help=f"{text} ({variable}=1)")

    host, port = os.environ.get("GRADIO_SERVER_NAME"), os.environ.get("GRADIO_SERVER_PORT")
    add("--model", "a folder or a Hub name; without it the embedded checkpoint")
    add(
        "--compare",
        "models offered beside it, folders or Hub names, separated by commas; the embedded ones always are",
    )
    add("--host", "0.0.0.0 lets other machines in", host or "127.0.0.1")
    add("--port", "where to listen", port or 7860, type=between(1, 65_535, int))
    add_switch("--share", "also make a public address, through Gradio's servers")
    add("--auth", "ask visitors for this name and password", type=user_and_password, metavar="USER:PASS")
    add("--max-duration", "seconds of the longest recording", 14_400, type=between(1, 10**6, float), metavar="SECONDS")
    add("--max-upload", "megabytes of the largest file", 1_000, type=between(0.001, 10**6, float), metavar="MB")
    add("--concurrency", "requests of one kind computed at a time", 2, type=between(1, 1_000, int), metavar="N")
    add_switch("--mcp", "also serve the endpoints as tools of the Model Context Protocol")
    parser.add_argument("--space", type=Path, metavar="FOLDER", help="write a Gradio Space there, and do not serve")
    return parser.parse_args(arguments)


def between(low: float, high: float, kind: type) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    convert.__name__ = kind.__name__  # argparse names it where the text is no number
    return convert


def user_and_password(text: str) -> tuple[str, str]:
    user, _, password = text.partition(":")
    if not user or not password:
        raise argparse.ArgumentTypeError("expected USER:PASS")
    return user, password


def require_free(host: str, port: int) -> None:
    """Raises OSError if nothing can listen there; asked before the model is loaded, which takes seconds."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def serve(options: argparse.Namespace) -> int:
    # Imported here because Gradio and torch take seconds, which --help and a wrong port need not wait for.
    from ser_hf import EmotionClassifier, SerError
    from ser_hf.demo.checkpoints import Checkpoints

    others = [name.strip() for name in (options.compare or "").split(",") if name.strip()]
    # Who may name any folder or repository can make this machine load it: only those who sit at it.
    own_machine = options.host in LOOPBACK and not options.share
    try:
        classifier = EmotionClassifier.from_pretrained(options.model)
        checkpoints = Checkpoints(classifier, others, any_name=own_machine)
        for name in others:
            checkpoints.load(name)
    except SerError as error:
        print(error, file=sys.stderr)
        return 1
    from ser_hf.demo.page import build_demo, launch_demo, warm_up

    warm_up(checkpoints)
    demo = build_demo(checkpoints, options.max_duration, options.concurrency)
    url = launch_demo(
        demo,
        options.host,
        options.port,
        share=options.share,
        auth=options.auth,
        max_upload_mb=options.max_upload,
        mcp=options.mcp,
    )
    print(f"Open {url}", flush=True)
    demo.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
