"""The support bundle and the inventory: what an engineer far away wants to know, and nothing secret.

    masking     what may be secret is taken out of a text, or of a configuration (pure)
    package     files into one archive, bounded
    collecting  what goes in: asked of the running proxy, or read from the store
    machine     processes, listening sockets, what lies in the store, the system's own versions
    inventory   the parts that we are made of, with versions and licences: an SBOM in CycloneDX

Nothing here changes anything, in the store or elsewhere.
"""
