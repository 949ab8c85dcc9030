"""The doctor: looks at certificate files, at servers and at this device's own proxy, and explains.

    diagnosis   what was found, as one value, for people and for programs
    anatomy     what a certificate and its chain are, in words
    files       files that a customer has: what would become of them
    destination servers as people name them
    visiting    going to a server and looking at what it shows: the only part that waits for the network
    server      what that means
    own         our own proxy, its store and its machine
    surroundings  our own ports and the services behind them, seen from outside

It changes nothing, holds no lock and takes bounded time. Files are looked into by an examiner's process.
"""
