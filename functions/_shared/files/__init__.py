"""Where the bytes of objects are kept: a driver protocol, the file system, an object store."""
