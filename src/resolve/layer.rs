//! A tower layer that finds each request's tenant.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{HOST, HeaderName};
use http::{HeaderMap, Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::resolver::{ResolveError, TenantResolver};
use crate::name::Hostname;
use crate::tenant::Tenant;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Puts the [`Tenant`] that a request's host leads to among the request's extensions.
///
/// Where there is none, the answer is 404 and the app is not asked; where the registry cannot be
/// asked, 503.
#[derive(Debug, Clone)]
pub struct TenantLayer {
    resolver: TenantResolver,
    falls_back: bool,
    trusts_forwarded_host: bool,
}

/// The service that [`TenantLayer`] makes.
#[derive(Debug, Clone)]
pub struct TenantService<S> {
    inner: S,
    layer: TenantLayer,
}

impl TenantLayer {
    /// Returns a layer that takes tenants from `resolver`.
    pub fn new(resolver: TenantResolver) -> Self {
        Self { resolver, falls_back: false, trusts_forwarded_host: false }
    }

    /// Lets requests whose host leads to no tenant through, with the shared schema for a tenant.
    pub fn or_shared(mut self) -> Self {
        self.falls_back = true;
        self
    }

    /// Takes the host from `X-Forwarded-Host` where there is one.
    ///
    /// Only behind a proxy that sets this header itself: anybody else can write into it what they
    /// like.
    pub fn trust_forwarded_host(mut self) -> Self {
        self.trusts_forwarded_host = true;
        self
    }

    async fn tenant(&self, host: Option<Hostname>) -> Result<Option<Tenant>, ResolveError> {
        let found = match &host {
            Some(host) => self.resolver.resolve(host).await?,
            None => None,
        };
        let fallback = || self.falls_back.then(|| self.resolver.shared());
        Ok(found.map(|it| Tenant::clone(&it)).or_else(fallback))
    }

    /// Returns the host that a request is for; `None` also for what is no hostname, such as an
    /// address.
    fn host<B>(&self, request: &Request<B>) -> Option<Hostname> {
        let forwarded = self
            .trusts_forwarded_host
            .then(|| header(request.headers(), &FORWARDED_HOST))
            .flatten()
            .and_then(|hosts| hosts.split(',').next());
        // HTTP/2 has it in the URI, and where HTTP/1 has it there too, that is what counts.
        let host = forwarded
            .or_else(|| request.uri().authority().map(|it| it.as_str()))
            .or_else(|| header(request.headers(), &HOST))?;
        Hostname::from_host_header(host.trim()).ok()
    }
}

/// Returns the one value of a header; two would be taken differently by different programs.
fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    match values.next() {
        Some(_) => None,
        None => value.to_str().ok(),
    }
}

impl<S> Layer<S> for TenantLayer {
    type Service = TenantService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let layer = self.clone();
        TenantService { inner, layer }
    }
}

impl<S, B, R> Service<Request<B>> for TenantService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // It is this one that said it is ready, and not its clone.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        let host = layer.host(&request);
        Box::pin(async move {
            match layer.tenant(host).await {
                Ok(Some(tenant)) => {
                    request.extensions_mut().insert(tenant);
                    inner.call(request).await
                }
                Ok(None) => Ok(empty(StatusCode::NOT_FOUND)),
                Err(error) => {
                    log::error!("a request's tenant could not be found: {error:?}");
                    Ok(empty(StatusCode::SERVICE_UNAVAILABLE))
                }
            }
        })
    }
}

fn empty<R: Default>(status: StatusCode) -> Response<R> {
    let mut response = Response::new(R::default());
    *response.status_mut() = status;
    response
}
