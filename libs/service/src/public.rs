//! What a service shows to the outside.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use futures::future::BoxFuture;

/// Takes a request before the shell with its limits and problems, or hands it back: for requests that are somebody
/// else's business and only go through.
pub type Front = Arc<dyn Fn(Request) -> Result<BoxFuture<'static, Response>, Box<Request>> + Send + Sync>;

/// A service's public side.
#[derive(Clone, Default)]
pub struct Public {
    /// Its own routes, which get the shell around them.
    pub routes: Router,
    /// What comes before them.
    pub front: Option<Front>,
}

impl From<Router> for Public {
    fn from(routes: Router) -> Self {
        Self { routes, front: None }
    }
}

impl Public {
    /// The routes, inside whatever `wrap` puts around them, behind the front.
    pub(crate) fn router(self, wrap: impl FnOnce(Router) -> Router) -> Router {
        let routes = wrap(self.routes);
        let Some(front) = self.front else { return routes };
        routes.layer(from_fn(move |request: Request, next: Next| {
            let taken = front(request);
            async move {
                match taken {
                    Ok(answer) => answer.await,
                    Err(request) => next.run(*request).await,
                }
            }
        }))
    }

    /// Whether there is anything to serve.
    pub(crate) fn is_empty(&self) -> bool {
        !self.routes.has_routes() && self.front.is_none()
    }
}
