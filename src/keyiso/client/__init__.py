"""The application's side: one binding per process, which mends itself."""
