"""What this machine can do for keys, found out by trying, and why not where it cannot.

Nothing is changed: what is loaded is unloaded again, and what is started ends. A question that
cannot be answered here is answered with *unknown*, and never taken for a *no*.

* `finding`: a question and its answer. Every question is put so that *yes* is good for keys.
* `memory`, `kernel`, `tracing`, `firmware`, `tpm`: the questions about the machine.
* `arming`: the shields, of a pair that is armed for the purpose and attacked.
* `instance`, `isolation`: the keyiso that runs, and its armed workers.
* `trial`: a signature at each level.
* `machine_root`: what the TPM keeps for them.
* `verdict`: whether a key that requires protection can be made here; `level`: what that stops.
* `examination`: all of it.
"""
