//! Parses a [`Snapshot`] into a [`Request`] and [`Problem`]s. A bad entry never affects a good one.

use ipnet::Ipv4Net;

use crate::model::base::cidr::Rules;
use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::base::refusal::{Caution, Refusal};
use crate::model::desired::reading::{self, Reading, Unread};
use crate::model::input::object::{MAX_ENTRIES_PER_OBJECT, MAX_OBJECTS_PER_NAMESPACE, Object};
use crate::model::input::request::{MAX_ENTRIES, Request, Snapshot};
use crate::model::persisted::ledger::Ledger;
use crate::model::persisted::recall::Recall;

/// Reports the sources that are in doubt, and the objects that probably lack the label by mistake.
fn doubts(snapshot: &Snapshot, problems: &mut Vec<Problem>) {
    for (source, why) in &snapshot.missing {
        problems.push(Problem::warning(
            Subject::Source(source.clone()),
            Reason::SourceNotLoaded,
            format!("{why}; until it has been listed whole, routes are only added, never removed"),
        ));
    }
    for (source, why) in &snapshot.stale {
        problems.push(Problem::warning(
            Subject::Source(source.clone()),
            Reason::SourceStale,
            format!("{why}; what it had asked for stays, changes are not seen, and no route is removed until it can be read again"),
        ));
    }
    for (source, why) in &snapshot.went_back {
        problems.push(Problem::warning(
            Subject::Source(source.clone()),
            Reason::SourceWentBack,
            format!("{why}; apply again what was changed after that state was saved"),
        ));
    }
    for (subject, why) in &snapshot.near_misses {
        let (subject, reason) = (subject.clone(), Reason::NotLabelled);
        problems.push(Problem::warning(subject, reason, why.clone()));
    }
}

/// Reads every entry of the snapshot under the rules of the network. `recall` knows the networks that were accepted before. `ledger`, if
/// given, explains all live routes: a refused entry without a line in it has no route.
pub fn parse(
    snapshot: &Snapshot,
    rules: &Rules,
    recall: Recall<'_>,
    ledger: Option<&Ledger>,
) -> (Request, Vec<Problem>) {
    let mut request = Request {
        // A source in doubt may still request networks that it does not show. No route is removed then, since nothing proves which networks
        // are no longer requested.
        settled: snapshot.is_certain(),
        ..Request::default()
    };
    let mut problems = Vec::new();
    doubts(snapshot, &mut problems);
    for (id, object) in &snapshot.objects {
        request.hidden(id, object, rules, ledger, &mut problems);
        if object.is_last_read {
            problems.push(request.beyond(snapshot, id, rules, ledger));
        }
    }
    let readings = reading::read(snapshot, rules, recall);
    for (entry, read) in readings.entries {
        match read {
            Ok(reading) => request.accept(entry, reading, &mut problems),
            Err(refusal) => problems.push(request.refuse(entry, &refusal, rules, ledger)),
        }
    }
    for unread in readings.unread {
        let problem = request.leave_out(unread, &readings.largest, rules, ledger);
        problems.push(problem);
    }
    (request, problems)
}

impl Request {
    fn accept(&mut self, entry: EntryId, reading: Reading<'_>, problems: &mut Vec<Problem>) {
        let Reading {
            text,
            net,
            masked,
            caution,
            known,
        } = reading;
        if masked {
            let text = format!("{:?} has host bits set and is read as {net}", text.trim());
            let subject = Subject::Entry(entry.clone());
            problems.push(Problem::note(subject, Reason::HostBitsMasked, text));
        }
        if let Some(caution) = caution {
            if !known && matches!(caution, Caution::Kept(_)) {
                self.only_live.insert(net);
            }
            let subject = Subject::Entry(entry.clone());
            let text = caution.to_string();
            problems.push(Problem::warning(subject, caution.reason(), text));
        }
        self.entries.insert(entry, net);
    }

    fn refuse(
        &mut self,
        entry: EntryId,
        refusal: &Refusal,
        rules: &Rules,
        ledger: Option<&Ledger>,
    ) -> Problem {
        self.refused += 1;
        self.settled &= ledger.is_some();
        let kept = self.last(&entry, ledger);
        let mut text = refusal.to_string();
        if let Some(net) = kept {
            text += &format!("; kept: {net} until it is corrected or removed");
            self.keep(entry.clone(), net, rules);
        } else if ledger.is_some_and(|ledger| ledger.is_short(&entry.object)) {
            text += "; kept: every route that may be for it, since the ledger had no room for what it asked for last";
        }
        Problem::refused(Subject::Entry(entry), refusal.reason(), text)
    }

    /// Reports the entries of one object beyond the limit of all objects. They keep the network that they requested last.
    fn leave_out(
        &mut self,
        unread: Unread<'_>,
        largest: &str,
        rules: &Rules,
        ledger: Option<&Ledger>,
    ) -> Problem {
        let Unread { object, keys } = unread;
        self.refused += keys.len();
        self.settled &= ledger.is_some();
        let mut kept = 0;
        for key in &keys {
            let (object, key) = (object.clone(), (*key).to_owned());
            let entry = EntryId { object, key };
            if let Some(net) = self.last(&entry, ledger) {
                self.keep(entry, net, rules);
                kept += 1;
            }
        }
        let text = format!(
            "{} of its entries are not read ({kept} of them keep the network that they asked for last): all ConfigMaps together have more \
             than the {MAX_ENTRIES} that are read, shared out by namespace, and {largest}; merge networks or remove entries there",
            keys.len()
        );
        let subject = Subject::Object(object.clone());
        Problem::refused(subject, Refusal::TooMany.reason(), text)
    }

    /// Returns the network that a refused entry requested last. If the ledger had no room for it, any live route that no line explains may
    /// serve the entry: all of these stay.
    fn last(&mut self, entry: &EntryId, ledger: Option<&Ledger>) -> Option<Ipv4Net> {
        let known = ledger.and_then(|ledger| ledger.asked(entry));
        if known.is_none() {
            self.hold_unknown(&entry.object, ledger);
        }
        known
    }

    fn hold_unknown(&mut self, object: &ObjectId, ledger: Option<&Ledger>) {
        if let Some(ledger) = ledger.filter(|ledger| ledger.is_short(object)) {
            self.held.extend(ledger.unnamed());
        }
    }

    /// Keeps the network that a refused entry requested last.
    fn keep(&mut self, entry: EntryId, net: Ipv4Net, rules: &Rules) {
        if rules.check(net, true).is_ok() {
            self.entries.insert(entry, net);
        } else {
            self.held.insert(net);
        }
    }

    /// Keeps the networks that entries requested last. Returns the number of entries.
    fn keep_all(
        &mut self,
        lines: impl Iterator<Item = (EntryId, Ipv4Net)>,
        rules: &Rules,
    ) -> usize {
        let mut kept = 0;
        for (entry, net) in lines {
            self.keep(entry, net, rules);
            kept += 1;
        }
        kept
    }

    /// Reports that the ConfigMaps after this one are not read. Their entries keep the network that they requested last.
    fn beyond(
        &mut self,
        snapshot: &Snapshot,
        last: &ObjectId,
        rules: &Rules,
        ledger: Option<&Ledger>,
    ) -> Problem {
        self.refused += 1;
        self.settled &= ledger.is_some();
        self.hold_unknown(last, ledger);
        let later = ledger.into_iter().flat_map(|it| it.after_object(last));
        let hidden = later.filter(|(entry, _)| snapshot.may_hide(&entry.object));
        let kept = self.keep_all(hidden.map(|(entry, net)| (entry.clone(), net)), rules);
        let text = format!(
            "the namespace has more than the {MAX_OBJECTS_PER_NAMESPACE} labelled ConfigMaps that are read, and this is the last one in \
             the order of names; {kept} entries of later ones keep the network that they asked for last; use fewer ConfigMaps with \
             more entries each"
        );
        let subject = Subject::Object(last.clone());
        Problem::refused(subject, Refusal::TooMany.reason(), text)
    }

    /// Reports the unread parts of an object with one problem each. Unread entries keep the network that they requested last.
    fn hidden(
        &mut self,
        id: &ObjectId,
        object: &Object,
        rules: &Rules,
        ledger: Option<&Ledger>,
        problems: &mut Vec<Problem>,
    ) {
        let mut tell = |reason, text| {
            problems.push(Problem::refused(Subject::Object(id.clone()), reason, text));
        };
        if object.binary_keys > 0 {
            let keys = object.binary_keys;
            tell(
                Reason::BinaryData,
                format!(
                    "it has {keys} keys under binaryData, which is not read; write the networks as text under data"
                ),
            );
        }
        if !object.hides_entries() {
            return;
        }
        self.refused += object.more_keys.max(1);
        self.settled &= ledger.is_some();
        self.hold_unknown(id, ledger);
        let lines = ledger.into_iter().flat_map(|ledger| ledger.of(id));
        let unread = lines.filter(|(key, _)| !object.data.contains_key(*key));
        let entry = |key: &str| EntryId {
            object: id.clone(),
            key: key.to_owned(),
        };
        let kept = self.keep_all(unread.map(|(key, net)| (entry(key), net)), rules);
        let kept = match kept {
            0 => String::new(),
            kept => format!("; {kept} of them keep the network that they asked for last"),
        };
        if let Some(why) = &object.unreadable {
            let text = format!(
                "it cannot be read ({why}), so its entries are unknown{kept}; write it as kubectl would, or delete it"
            );
            tell(Reason::ObjectUnreadable, text);
        }
        if object.more_keys > 0 {
            let text = format!(
                "it has {} entries more than the {MAX_ENTRIES_PER_OBJECT} that are read, in the order of their keys{kept}; merge \
                 networks, remove entries, or use a second ConfigMap",
                object.more_keys
            );
            tell(Refusal::TooMany.reason(), text);
        }
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
