//! Resources that the clean-up at the end of an update could not delete, as the stack's events show them. The update succeeds all the same,
//! and no other call shows these resources.

use std::collections::BTreeSet;

use aws_sdk_cloudformation::types::{ResourceStatus, StackEvent};

use super::codes;
use super::operation::{is_of_stack, page, stack_status};
use super::pages::{List, Pages};
use super::reader::Reader;
use crate::model::cloud::left_behind::{LeftBehind, LeftResources};
use crate::model::cloud::live::Stack;
use crate::model::cloud::status::{Phase, Status};

/// The maximum number of resources that are stored.
const MAX_LEFT: usize = 100;

/// The resources that clean-ups of one stack have left behind.
#[derive(Debug, Default)]
pub struct Seen {
    /// The stack's ARN.
    stack: String,
    left: LeftResources,
    /// A clean-up of which only some events were read.
    unread: Option<Unread>,
}

#[derive(Debug)]
struct Unread {
    events: Events,
    pages: Pages,
}

/// Reads events from the newest to the oldest.
#[derive(Debug, Default)]
struct Events {
    /// Whether the events that are being read are those of a clean-up.
    in_clean_up: bool,
    /// Whether the newest operation's clean-up was read, or it has none.
    is_past_newest: bool,
    left: LeftResources,
    /// The physical ids whose newest event was read.
    known: BTreeSet<String>,
}

impl Events {
    fn read(&mut self, events: &[StackEvent]) {
        for event in events {
            if is_of_stack(event) {
                self.in_clean_up = matches!(
                    stack_status(event),
                    Status::UpdateComplete | Status::UpdateRollbackComplete
                );
                self.is_past_newest |= !self.in_clean_up;
            } else if let Some(id) = event.physical_resource_id().filter(|id| !id.is_empty())
                && self.known.insert(id.to_owned())
                && self.in_clean_up
                && event.resource_status() == Some(&ResourceStatus::DeleteFailed)
            {
                self.note(id, event);
            }
        }
    }

    fn note(&mut self, id: &str, event: &StackEvent) {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let reason = event.resource_status_reason().unwrap_or("no reason given");
        let left = LeftBehind {
            logical_id: text(event.logical_resource_id()),
            resource_type: text(event.resource_type()),
            reason: codes::one_line(codes::handler_message(reason)),
        };
        // If nothing shows whether the resource still exists, only the newest operation counts.
        if self.left.len() < MAX_LEFT && (!self.is_past_newest || left.is_watched(id)) {
            self.left.insert(id.to_owned(), left);
        }
    }
}

impl Seen {
    /// Stores the resources that the newest events, the first page, show as left behind. `after` is the token of the next page.
    pub fn note(&mut self, stack: &str, events: &[StackEvent], after: Option<String>) {
        if self.stack != stack {
            *self = Self {
                stack: stack.to_owned(),
                ..Self::default()
            };
        }
        let mut pages = Pages::of(List::StackEvents);
        _ = pages.turn();
        pages.note(after);
        let mut unread = Unread {
            events: Events::default(),
            pages,
        };
        unread.events.read(events);
        self.go_on_with(unread);
    }

    /// Stores the result if the newest clean-up was read or there is no further page, and otherwise the state of the read.
    fn go_on_with(&mut self, unread: Unread) {
        if !unread.events.is_past_newest && unread.pages.token().is_some() {
            self.unread = Some(unread);
        } else {
            self.finish(unread.events);
        }
    }

    fn finish(&mut self, Events { left, known, .. }: Events) {
        self.unread = None;
        self.left
            .retain(|id, it| !known.contains(id) && it.is_watched(id));
        self.left.extend(left);
        while self.left.len() > MAX_LEFT {
            self.left.pop_last();
        }
    }
}

/// Returns the resources that clean-ups of the stack have left behind, as far as its events were read. Reads the further events of the last
/// clean-up once, if the newest page does not have all of them. Nothing depends on the result, so a call that fails is no failure.
pub async fn read(reader: &Reader<'_>, seen: &mut Seen, stack: &Stack) -> LeftResources {
    if seen.stack != stack.id {
        return LeftResources::new();
    }
    while stack.status.phase() == Phase::Settled
        && let Some(mut unread) = seen.unread.take()
    {
        let Some(token) = unread.pages.turn() else {
            seen.finish(unread.events);
            break;
        };
        match page(
            reader.calls,
            reader.cloudformation,
            &stack.id,
            token.clone(),
        )
        .await
        {
            Ok((events, after)) => {
                unread.events.read(&events);
                unread.pages.note(after);
                seen.go_on_with(unread);
            }
            Err(_) => {
                // The limit of pages counts the attempts, too.
                unread.pages.note(token);
                seen.go_on_with(unread);
                break;
            }
        }
    }
    seen.left.clone()
}

#[cfg(test)]
mod tests {
    use super::super::event_examples::{self, ARN, of_stack};
    use super::*;

    /// Returns an event of a resource, whose logical id is its physical id.
    fn event(id: &str, status: &str) -> StackEvent {
        let kind = if id.starts_with("nat-") {
            "NatGateway"
        } else {
            "PrefixList"
        };
        let reason = if status == "DELETE_FAILED" {
            "in use"
        } else {
            ""
        };
        let mut event = event_examples::event(id, &format!("AWS::EC2::{kind}"), status, reason, "");
        event.physical_resource_id = Some(id.to_owned());
        event
    }

    fn end() -> StackEvent {
        of_stack("UPDATE_COMPLETE", "")
    }

    fn clean_up() -> [StackEvent; 2] {
        [
            of_stack("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", ""),
            of_stack("UPDATE_IN_PROGRESS", ""),
        ]
    }

    /// Returns the events of an update whose clean-up has these events, given newest first.
    fn update(events: &[StackEvent]) -> Vec<StackEvent> {
        [&[end()], events, &clean_up()].concat()
    }

    fn left(seen: &Seen) -> Vec<&str> {
        seen.left.keys().map(String::as_str).collect()
    }

    #[test]
    fn the_last_attempt_of_the_clean_up_decides() {
        let mut seen = Seen::default();
        let attempts = ["DELETE_FAILED", "DELETE_IN_PROGRESS", "DELETE_FAILED"];
        let failed = attempts.map(|status| event("nat-1", status));
        seen.note(ARN, &update(&failed), None);
        assert_eq!(left(&seen), ["nat-1"]);
        assert_eq!(seen.left["nat-1"].reason, "in use");
        let deleted = [&[event("nat-1", "DELETE_COMPLETE")], &failed[..]].concat();
        seen.note(ARN, &update(&deleted), None);
        assert_eq!(left(&seen), [""; 0]);
    }

    #[test]
    fn a_failure_outside_of_a_clean_up_leaves_nothing_behind() {
        let failed = [event("nat-1", "DELETE_FAILED")];
        for end in ["DELETE_FAILED", "ROLLBACK_FAILED", "CREATE_COMPLETE"] {
            let mut seen = Seen::default();
            seen.note(ARN, &[&[of_stack(end, "")], &failed[..]].concat(), None);
            assert_eq!(left(&seen), [""; 0], "{end}");
        }
        let mut seen = Seen::default();
        let events = [&failed[..], &clean_up()].concat();
        seen.note(ARN, &events, None);
        assert_eq!(left(&seen), [""; 0], "the clean-up has not ended");
        let ends = [
            of_stack("UPDATE_ROLLBACK_COMPLETE", ""),
            event("nat-1", "DELETE_FAILED"),
            of_stack("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", ""),
        ];
        seen.note(ARN, &ends, None);
        assert_eq!(left(&seen), ["nat-1"]);
    }

    #[test]
    fn later_operations_change_nothing_unless_their_events_name_the_resource() {
        let first = update(&[
            event("nat-1", "DELETE_FAILED"),
            event("pl-1", "DELETE_FAILED"),
        ]);
        let mut seen = Seen::default();
        seen.note(ARN, &first, None);
        assert_eq!(left(&seen), ["nat-1", "pl-1"]);
        // Nothing shows whether the list still exists.
        let second = [update(&[event("nat-2", "DELETE_COMPLETE")]), first].concat();
        seen.note(ARN, &second, None);
        assert_eq!(left(&seen), ["nat-1"]);
        // The next leader reads the same page.
        let mut next = Seen::default();
        next.note(ARN, &second, None);
        assert_eq!(left(&next), ["nat-1"]);
        // The page shows only later events.
        seen.note(ARN, &update(&[]), Some("2".to_owned()));
        assert_eq!(left(&seen), ["nat-1"]);
        seen.note(ARN, &update(&[event("nat-1", "DELETE_COMPLETE")]), None);
        assert_eq!(left(&seen), [""; 0]);
        // The stack was created again.
        seen.note(ARN, &update(&[event("nat-1", "DELETE_FAILED")]), None);
        seen.note("another", &[of_stack("CREATE_COMPLETE", "")], None);
        assert_eq!(left(&seen), [""; 0]);
    }

    #[test]
    fn a_clean_up_of_many_events_is_read_to_its_start() {
        let mut seen = Seen::default();
        let page = [end(), event("nat-2", "DELETE_COMPLETE")];
        seen.note(ARN, &page, Some("2".to_owned()));
        assert_eq!(left(&seen), [""; 0]);
        let mut unread = seen.unread.take().expect("a second page");
        assert_eq!(unread.pages.turn().flatten().as_deref(), Some("2"));
        unread.events.read(&[event("nat-1", "DELETE_FAILED")]);
        unread.pages.note(Some("3".to_owned()));
        seen.go_on_with(unread);
        let mut unread = seen.unread.take().expect("a third page");
        assert_eq!(unread.pages.turn().flatten().as_deref(), Some("3"));
        unread.events.read(&clean_up());
        unread.pages.note(Some("4".to_owned()));
        seen.go_on_with(unread);
        assert!(seen.unread.is_none());
        assert_eq!(left(&seen), ["nat-1"]);
    }
}
