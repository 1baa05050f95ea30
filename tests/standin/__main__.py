"""python -m standin --port 0 [--port-file FILE]"""

import argparse
import json
import os
import signal
import sys

from . import graft


def main():
    parser = argparse.ArgumentParser(prog="standin", description="An AWS stand-in for tests, on loopback only.")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--port-file", help="where to write the port, once the server listens")
    arguments = parser.parse_args()
    graft.install()
    from .server import serve

    server = serve(arguments.port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if arguments.port_file:
        # Renamed into place, so that who waits for the file never reads half of it.
        with open(arguments.port_file + ".new", "w") as file:
            file.write(str(server.server_port))
        os.replace(arguments.port_file + ".new", arguments.port_file)
    print(json.dumps({"port": server.server_port}), flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


main()
