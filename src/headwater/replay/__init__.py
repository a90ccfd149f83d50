"""One step looked at operation by operation, once its numbers are not finite any more.

Nothing here runs while all is well. :class:`~headwater.replay.monitor.Monitor` watches every
operation of a forward and a backward pass, :mod:`~headwater.replay.slices` finds the statements of
the user's step that make its loss, and :mod:`~headwater.replay.child` runs them again in a process
of their own, so that the training notices nothing.
"""
