"""Making a worker a process whose memory root's tools cannot read.

A *pair* is a guardian and its worker. The guardian starts the worker, stops it once it has warmed
up, and moves its memory: what can be written onto secret memory (memfd_secret(2)), which the
kernel maps for the worker alone, the rest onto a sealed file. It stays the worker's tracer and the
worker becomes the guardian's, so that neither can get another one; each dies with the other. Last
both give up every system call they do not need. Secrets enter after that.

* The guardian's process calls `guardian.run_guardian` and ends with what it returns.
* The worker's process calls, in this order: `heap.prepare_heap`, before any thread is started;
  whatever opens its sockets and starts its threads; `warm_up.warm_up`; `armed.become_armed`, which
  returns only in an armed process. After that it reads its roots and serves, asks `heap.Heap`
  whether there is room for more, and ends by ``os._exit``.

Nothing here is imported by a ``software`` worker.
"""
