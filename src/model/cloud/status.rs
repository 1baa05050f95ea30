//! CloudFormation's statuses of a stack, and the actions that each allows.

use std::fmt;

use serde::{Serialize, Serializer};

/// StackStatus of CloudFormation's API (23 values), or an unknown value.
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
    /// A status that the controller does not know. The controller does not change such a stack.
    Unknown(String),
}

use Status::*;

/// The known statuses, each with CloudFormation's word.
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

/// The kind of a status, by the actions that it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No operation runs, and the stack can be updated.
    Settled,
    /// An operation of the controller or of another caller runs.
    Busy,
    /// The creation failed, whether rolled back or not: the stack can only be deleted.
    CreateFailed,
    /// A rollback failed: the only possible action is to continue it.
    RollbackFailed,
    /// A deletion failed: the stack can only be deleted again.
    DeleteFailed,
    /// A change set of type CREATE was not executed; the stack has no resources.
    Review,
    Gone,
    /// The controller reads the stack and does not change it.
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

    /// Returns the kind of the status. `DELETE_COMPLETE` is the end of a stack.
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
            // The intended result of an import is unknown, so an operator has to act.
            ImportRollbackFailed | Unknown(_) => Phase::Unknown,
        }
    }

    /// Whether no operation runs in this status. False for an unknown status, in which an operation may run.
    pub fn ends_an_operation(&self) -> bool {
        let runs = matches!(self.phase(), Phase::Busy | Phase::Review);
        !runs && !matches!(self, Unknown(_))
    }

    /// Whether the last operation is being rolled back, was rolled back, or could not be rolled back.
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

    /// Whether the last operation failed, rolled back or not. False for an unknown status.
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

    /// Each word itself shows the expected results of the predicates.
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
