//! The words of CloudFormation for what state a stack is in, and what each allows.

use std::fmt;

use serde::{Serialize, Serializer};

/// StackStatus of CloudFormation's API (23 values), or one that it did not have when this was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    CreateInProgress,
    CreateFailed,
    CreateComplete,
    RollbackInProgress,
    RollbackFailed,
    RollbackComplete,
    DeleteInProgress,
    DeleteFailed,
    DeleteComplete,
    UpdateInProgress,
    UpdateCompleteCleanupInProgress,
    UpdateComplete,
    UpdateFailed,
    UpdateRollbackInProgress,
    UpdateRollbackFailed,
    UpdateRollbackCompleteCleanupInProgress,
    UpdateRollbackComplete,
    ReviewInProgress,
    ImportInProgress,
    ImportComplete,
    ImportRollbackInProgress,
    ImportRollbackFailed,
    ImportRollbackComplete,
    /// The controller does not act on a stack with a status that it does not know.
    Unknown(String),
}

use Status::*;

/// Each known status with its word.
static WORDS: [(Status, &str); 23] = [
    (CreateInProgress, "CREATE_IN_PROGRESS"),
    (CreateFailed, "CREATE_FAILED"),
    (CreateComplete, "CREATE_COMPLETE"),
    (RollbackInProgress, "ROLLBACK_IN_PROGRESS"),
    (RollbackFailed, "ROLLBACK_FAILED"),
    (RollbackComplete, "ROLLBACK_COMPLETE"),
    (DeleteInProgress, "DELETE_IN_PROGRESS"),
    (DeleteFailed, "DELETE_FAILED"),
    (DeleteComplete, "DELETE_COMPLETE"),
    (UpdateInProgress, "UPDATE_IN_PROGRESS"),
    (
        UpdateCompleteCleanupInProgress,
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    ),
    (UpdateComplete, "UPDATE_COMPLETE"),
    (UpdateFailed, "UPDATE_FAILED"),
    (UpdateRollbackInProgress, "UPDATE_ROLLBACK_IN_PROGRESS"),
    (UpdateRollbackFailed, "UPDATE_ROLLBACK_FAILED"),
    (
        UpdateRollbackCompleteCleanupInProgress,
        "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
    ),
    (UpdateRollbackComplete, "UPDATE_ROLLBACK_COMPLETE"),
    (ReviewInProgress, "REVIEW_IN_PROGRESS"),
    (ImportInProgress, "IMPORT_IN_PROGRESS"),
    (ImportComplete, "IMPORT_COMPLETE"),
    (ImportRollbackInProgress, "IMPORT_ROLLBACK_IN_PROGRESS"),
    (ImportRollbackFailed, "IMPORT_ROLLBACK_FAILED"),
    (ImportRollbackComplete, "IMPORT_ROLLBACK_COMPLETE"),
];

/// What a status allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// At rest; can be updated.
    Settled,
    /// An operation runs, ours or another caller's.
    Busy,
    /// The creation failed and was rolled back, or not: the stack can only be deleted.
    CreateFailed,
    /// A rollback failed: it can only be continued.
    RollbackFailed,
    /// A deletion failed: it can only be deleted again.
    DeleteFailed,
    /// A change set of type CREATE that nobody executed; no resources.
    Review,
    Gone,
    /// Look, never touch.
    Unknown,
}

impl Status {
    /// Reads CloudFormation's word.
    pub fn read(word: &str) -> Self {
        let known = WORDS.iter().find(|(_, known)| *known == word);
        known.map_or_else(|| Unknown(word.to_owned()), |(status, _)| status.clone())
    }

    /// Returns CloudFormation's word.
    pub fn word(&self) -> &str {
        match self {
            Unknown(word) => word,
            known => WORDS
                .iter()
                .find(|(status, _)| status == known)
                .map_or("", |(_, word)| *word),
        }
    }

    /// Returns what it allows. `DELETE_COMPLETE` is the end of a stack.
    pub fn phase(&self) -> Phase {
        match self {
            CreateComplete
            | UpdateComplete
            | UpdateRollbackComplete
            | UpdateFailed
            | ImportComplete
            | ImportRollbackComplete => Phase::Settled,
            CreateInProgress
            | RollbackInProgress
            | DeleteInProgress
            | UpdateInProgress
            | UpdateCompleteCleanupInProgress
            | UpdateRollbackInProgress
            | UpdateRollbackCompleteCleanupInProgress
            | ImportInProgress
            | ImportRollbackInProgress => Phase::Busy,
            CreateFailed | RollbackComplete | RollbackFailed => Phase::CreateFailed,
            UpdateRollbackFailed => Phase::RollbackFailed,
            DeleteFailed => Phase::DeleteFailed,
            ReviewInProgress => Phase::Review,
            DeleteComplete => Phase::Gone,
            // Only a person knows what was to be imported.
            ImportRollbackFailed | Unknown(_) => Phase::Unknown,
        }
    }

    /// Whether no operation runs in this status. An unknown status may be one of an operation that runs.
    pub fn ends_an_operation(&self) -> bool {
        let runs = matches!(self.phase(), Phase::Busy | Phase::Review);
        !runs && !matches!(self, Unknown(_))
    }

    /// Whether the last operation is rolled back, was, or could not be.
    pub fn is_rollback(&self) -> bool {
        match self {
            RollbackInProgress
            | RollbackFailed
            | RollbackComplete
            | UpdateRollbackInProgress
            | UpdateRollbackFailed
            | UpdateRollbackCompleteCleanupInProgress
            | UpdateRollbackComplete
            | ImportRollbackInProgress
            | ImportRollbackFailed
            | ImportRollbackComplete => true,
            CreateInProgress
            | CreateFailed
            | CreateComplete
            | DeleteInProgress
            | DeleteFailed
            | DeleteComplete
            | UpdateInProgress
            | UpdateCompleteCleanupInProgress
            | UpdateComplete
            | UpdateFailed
            | ReviewInProgress
            | ImportInProgress
            | ImportComplete
            | Unknown(_) => false,
        }
    }

    /// Whether the last operation failed, rolled back or not. It is not known of a status that is not.
    pub fn tells_failure(&self) -> bool {
        self.is_rollback() || matches!(self, CreateFailed | DeleteFailed | UpdateFailed)
    }
}

impl Default for Status {
    fn default() -> Self {
        Unknown(String::new())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words say of themselves what the predicates have to say.
    #[test]
    fn every_word_is_read_as_what_it_says() {
        for (status, word) in &WORDS {
            assert_eq!(Status::read(word), *status);
            assert_eq!(status.to_string(), *word);
            assert_eq!(status.is_rollback(), word.contains("ROLLBACK"), "{word}");
            let fails = word.contains("ROLLBACK") || word.ends_with("FAILED");
            assert_eq!(status.tells_failure(), fails, "{word}");
            let runs = word.ends_with("_IN_PROGRESS") && *status != ReviewInProgress;
            assert_eq!(status.phase() == Phase::Busy, runs, "{word}");
        }
        for word in [
            "",
            "update_complete",
            "UPDATE_COMPLETE ",
            "REFACTOR_ROLLBACK_FAILED",
        ] {
            let status = Status::read(word);
            assert_eq!((status.word(), status.phase()), (word, Phase::Unknown));
            assert!(!status.is_rollback() && !status.tells_failure());
        }
    }
}
