"""The one event-loop shell that every service runs in.

A service is a single thread around a selector. Handlers are plain functions, or coroutines that
await `Promise`s; nothing here knows what the services do.
"""
