//! The network of one replica: the fate of each message between it and the API server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wall::Wall;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    Get,
    Post,
    Patch,
    Put,
    Watch,
    /// One event of a watch.
    Event,
}

/// The fate of one request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fate {
    pub before: Duration,
    pub request_lost: bool,
    pub after: Duration,
    pub answer_lost: bool,
    /// The status of an error that replaces the response.
    pub status: Option<u16>,
    /// The delay after which the request arrives a second time. Its second response is dropped.
    pub again: Option<Duration>,
}

impl Fate {
    pub const LOST: Self = Self {
        before: Duration::ZERO,
        request_lost: true,
        after: Duration::ZERO,
        answer_lost: false,
        status: None,
        again: None,
    };

    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }
}

/// The network of one replica.
#[derive(Clone)]
pub struct Net {
    fates: Arc<Mutex<Fates>>,
    wall: Option<Wall>,
}

type Fates = Box<dyn FnMut(Ask) -> Fate + Send>;

impl Net {
    pub fn good() -> Self {
        Self {
            fates: Arc::new(Mutex::new(Box::new(|_| Fate::default()))),
            wall: None,
        }
    }

    /// Creates the network of a machine with this wall clock.
    pub fn of(wall: Wall) -> Self {
        Self {
            wall: Some(wall),
            ..Self::good()
        }
    }

    pub fn set(&self, fate: impl FnMut(Ask) -> Fate + Send + 'static) {
        *self.fates.lock().unwrap() = Box::new(fate);
    }

    pub fn fate(&self, ask: Ask) -> Fate {
        (self.fates.lock().unwrap())(ask)
    }

    pub fn wall(&self) -> Option<&Wall> {
        self.wall.as_ref()
    }
}
