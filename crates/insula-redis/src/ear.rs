//! The connection that listens.
//!
//! The driver answers a `SUBSCRIBE` when it has written it and drops what the server says to it. So each is followed by a
//! command that the server does answer, on the same connection: when that answer is there, messages come.

use fred::{
    clients::SubscriberClient,
    error::Error,
    interfaces::{ClientLike, KeysInterface, PubsubInterface},
};

/// Listens on a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct Ear(pub(crate) SubscriberClient);

impl Ear {
    /// Listens to a channel; when this returns, nothing said from now on is missed.
    pub(crate) async fn subscribe(&self, channel: String) -> Result<(), Error> {
        self.0.subscribe(channel).await?;
        self.answers().await
    }

    /// Listens to everything again, on a new connection.
    pub(crate) async fn subscribe_again(&self) -> Result<(), Error> {
        let channels: Vec<_> = self.0.tracked_channels().into_iter().collect();
        // The driver would send a `SUBSCRIBE` to nothing, and take the refusal for the answer to the next command.
        if !channels.is_empty() {
            self.0.subscribe(channels).await?;
        }
        self.answers().await
    }

    pub(crate) async fn unsubscribe(&self, channels: Vec<String>) -> Result<(), Error> {
        self.0.unsubscribe(channels).await?;
        self.answers().await
    }

    /// Whether the server answers on this connection.
    async fn answers(&self) -> Result<(), Error> {
        if !self.0.is_clustered() {
            return self.0.ping(None).await;
        }
        // In a cluster the driver subscribes on the node that would have a key named like the client.
        self.0.exists::<i64, _>(self.0.id()).await.map(drop)
    }
}
