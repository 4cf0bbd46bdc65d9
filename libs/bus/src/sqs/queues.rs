use aws_sdk_sqs::types::QueueAttributeName;

use super::{Sqs, failed};
use crate::{BusError, BusErrorKind};

impl Sqs {
    pub(super) fn queue_name(&self, service: &str) -> String {
        format!("{}{service}.fifo", self.options.queue_prefix)
    }

    /// The URL of a service's queue, which is there and FIFO.
    pub(super) async fn queue(&self, service: &str) -> Result<String, BusError> {
        let name = self.queue_name(service);
        let found = self.client.get_queue_url().queue_name(&name).send().await;
        let url = match found {
            Ok(found) => found.queue_url.unwrap_or_default(),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_queue_does_not_exist()) => {
                if !self.options.create_queues {
                    let detail = format!("queue {name} is missing; make it (FIFO) or set create_queues in development");
                    return Err(BusError::new(BusErrorKind::Unfit, detail));
                }
                self.make(&name).await?
            }
            Err(error) => return Err(failed(&format!("can't look up queue {name}"), error)),
        };
        let attributes = self
            .client
            .get_queue_attributes()
            .queue_url(&url)
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .map_err(|error| failed(&format!("can't read the attributes of queue {name}"), error))?;
        let is_fifo = attributes
            .attributes()
            .and_then(|all| all.get(&QueueAttributeName::FifoQueue))
            .is_some_and(|value| value == "true");
        if !is_fifo {
            return Err(BusError::new(
                BusErrorKind::Unfit,
                format!("queue {name} is not FIFO; events need their order"),
            ));
        }
        Ok(url)
    }

    async fn make(&self, name: &str) -> Result<String, BusError> {
        let made = self
            .client
            .create_queue()
            .queue_name(name)
            .attributes(QueueAttributeName::FifoQueue, "true")
            // The longest there is, 14 days: a service may be away for long.
            .attributes(QueueAttributeName::MessageRetentionPeriod, "1209600")
            .send()
            .await
            .map_err(|error| failed(&format!("can't make queue {name}"), error))?;
        Ok(made.queue_url.unwrap_or_default())
    }
}
