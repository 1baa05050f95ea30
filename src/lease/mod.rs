//! Who may write: the Lease, made safe, and the [`term::Term`] that proves it.
