"""Locks between processes that end with whoever holds them, however it ends."""


def try_lock(descriptor: int) -> bool:
    """Lock an open file until its last descriptor is closed; false while another process has it.

    Without such locks (Windows, some network file systems) nobody is kept out: that is the user's care.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
