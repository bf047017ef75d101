//! The counted reference that keeps a client alive.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Error;
use crate::shared::Shared;
use crate::shared::inbox::Input;

/// The application's reference to [`Shared`]. `RaftClient` and every pending request hold one.
///
/// When the last handle is dropped, the driver closes the session and ends.
#[derive(Clone)]
pub(crate) struct Handle(Arc<DisconnectOnDrop>);

struct DisconnectOnDrop {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(DisconnectOnDrop { shared: Arc::new(shared) }))
    }

    /// Returns the shared state itself, for holders that must not keep the client alive.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Fails if no member could accept the payload, however long it waited.
    #[inline]
    pub(crate) fn check_payload(&self, payload: &Bytes) -> Result<(), Error> {
        Ok(self.admission.check_payload(payload.len())?)
    }
}

impl Deref for Handle {
    type Target = Shared;

    #[inline]
    fn deref(&self) -> &Shared {
        &self.0.shared
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl Drop for DisconnectOnDrop {
    fn drop(&mut self) {
        self.shared.push(Input::LastHandleDropped);
    }
}
