use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::{StoreError, StoreErrorKind};

/// What the SDK's failure means to a caller; `doing` says what was being done.
pub(super) fn failed<E>(doing: &str, error: SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let (kind, advice) = match &error {
        SdkError::ServiceError(_) => of_code(error.code().unwrap_or_default()),
        SdkError::TimeoutError(_) => {
            (StoreErrorKind::Unavailable, "no answer in time; it may or may not have happened")
        }
        _ => (StoreErrorKind::Unavailable, "the service can't be reached; check endpoint, region and credentials"),
    };
    let said = match (error.code(), error.message()) {
        (Some(code), message) => format!(" ({code}: {})", message.unwrap_or("no message")),
        (None, _) => String::new(),
    };
    StoreError::new(kind, format!("{doing}: {advice}{said}")).with_source(error)
}

fn of_code(code: &str) -> (StoreErrorKind, &'static str) {
    match code {
        "ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded" => {
            (StoreErrorKind::Throttled, "the table's throughput is used up; slow down or raise it")
        }
        "TransactionConflictException" | "TransactionInProgressException" => {
            (StoreErrorKind::Contended, "another transaction holds these keys; try again")
        }
        "ValidationException" | "ItemCollectionSizeLimitExceededException" | "IdempotentParameterMismatchException" => {
            (StoreErrorKind::Invalid, "DynamoDB refuses the request")
        }
        "ResourceNotFoundException" => (StoreErrorKind::Unavailable, "the table is missing; create it"),
        _ => (StoreErrorKind::Unavailable, "DynamoDB failed"),
    }
}
