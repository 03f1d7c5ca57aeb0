"""``python -I .../keyiso/_from_user_site.py MODULE ...``: runs a module of this very keyiso.

``-I`` leaves out a user's own site-packages. This adds the one that this file is in, where Python
has it otherwise, and nothing else of what Python does there: no ``.pth`` file, no
``usercustomize``. Who starts it has made sure whose it is (`keyiso.interpreter`).
"""

import os
import runpy
import site
import sys

if __name__ == "__main__":
    of_system = site.getsitepackages()
    first = [number for number, path in enumerate(sys.path) if path in of_system]
    packages = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path.insert(first[0] if first else len(sys.path), packages)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
