//! Replicas behind links that can fail.

use crate::proxy::Link;
use crate::replica::{Launch, Replica};
use crate::stage::Stage;

pub struct Linked {
    pub replica: Replica,
    pub kube: Link,
    pub aws: Link,
}

impl Stage {
    /// Creates the links of one replica: to the API server, and to AWS.
    pub fn links(&self) -> (Link, Link) {
        let (_, port) = self.url.rsplit_once(':').unwrap();
        (Link::to(port.parse().unwrap()), Link::to(self.aws.port()))
    }

    /// Starts a replica behind its own links, with a Lease of 3 s.
    pub fn linked(&self, name: &str) -> Linked {
        let (kube, aws) = self.links();
        self.behind(kube, aws, self.replica(name).lease(3))
    }

    pub fn behind(&self, kube: Link, aws: Link, launch: Launch) -> Linked {
        let launch = launch
            .flag("master", &format!("https://127.0.0.1:{}", kube.port()))
            .aws_port(aws.port());
        Linked {
            replica: launch.start(),
            kube,
            aws,
        }
    }
}
