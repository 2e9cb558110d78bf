"""moto's server, limited to one request at a time. moto undoes a refused transaction by restoring a copy of the whole table,
which would also undo what other requests wrote in between."""

import threading

from moto import server

serve = server.run_simple


def one_at_a_time(host, port, app, **options):
    lock = threading.Lock()

    def locked(environ, start_response):
        with lock:
            return list(app(environ, start_response))

    serve(host, port, locked, **options)


server.run_simple = one_at_a_time
server.main()
