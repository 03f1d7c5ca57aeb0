"""Making and changing the enrolment of a machine, where its roots are: in an armed process.

A pair like that of a service, but for one job, and without a socket that anybody could connect to.
Who starts it (``start``) writes the job on its standard input and reads the new enrolment, which is
public, from its standard output. Roots are made, unsealed and recovered after arming; before, the
worker does everything once with a root that it throws away.
"""
