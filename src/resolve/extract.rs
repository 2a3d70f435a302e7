//! The request's tenant as an argument of an axum handler.

use axum_core::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;

use crate::tenant::Tenant;

impl<S: Send + Sync> FromRequestParts<S> for Tenant {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let missing = "this route is not behind a `TenantLayer`";
        let tenant = parts.extensions.get::<Self>().cloned();
        tenant.ok_or((StatusCode::INTERNAL_SERVER_ERROR, missing))
    }
}
