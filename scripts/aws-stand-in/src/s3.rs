//! A bucket. Signatures are checked, and who does not sign may do what a policy of the bucket lets
//! everybody do. Its owner has the credentials of `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.

use std::collections::HashMap;
use std::env::{VarError, var};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Query, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use fakecloud_core::auth::{
    CredentialResolver, IamMode, Principal, PrincipalType, ResolvedCredential,
};
use fakecloud_core::delivery::DeliveryBus;
use fakecloud_core::dispatch::{DispatchConfig, dispatch};
use fakecloud_core::multi_account::MultiAccountState;
use fakecloud_core::registry::ServiceRegistry;
use fakecloud_iam::SharedIamState;
use fakecloud_iam::policy_evaluator::IamPolicyEvaluatorImpl;
use fakecloud_s3::resource_policy::S3ResourcePolicyProvider;
use fakecloud_s3::{S3Bucket, S3Service, SharedS3State};
use parking_lot::RwLock;

use crate::{ACCOUNT, REGION};

/// The one who may sign.
struct Owner {
    key: String,
    secret: String,
}

impl CredentialResolver for Owner {
    fn resolve(&self, key: &str) -> Option<ResolvedCredential> {
        (key == self.key).then(|| ResolvedCredential {
            secret_access_key: self.secret.clone(),
            session_token: None,
            principal: Principal {
                arn: format!("arn:aws:iam::{ACCOUNT}:root"),
                user_id: ACCOUNT.to_owned(),
                account_id: ACCOUNT.to_owned(),
                principal_type: PrincipalType::Root,
                source_identity: None,
                tags: None,
            },
            session_policies: Vec::new(),
            mfa_present: false,
            token_issued_at: None,
            federated_provider: None,
        })
    }
}

pub fn app(endpoint: &str, bucket: String) -> Result<Router, VarError> {
    let owner =
        Arc::new(Owner { key: var("AWS_ACCESS_KEY_ID")?, secret: var("AWS_SECRET_ACCESS_KEY")? });
    let state: SharedS3State =
        Arc::new(RwLock::new(MultiAccountState::new(ACCOUNT, REGION, endpoint)));
    let made = S3Bucket::new(&bucket, REGION, ACCOUNT);
    state.write().default_mut().buckets.insert(bucket, made);
    let users: SharedIamState =
        Arc::new(RwLock::new(MultiAccountState::new(ACCOUNT, REGION, endpoint)));

    let mut config = DispatchConfig::new(REGION, ACCOUNT);
    config.verify_sigv4 = true;
    config.credential_resolver = Some(owner.clone());
    config.resource_policy_provider = Some(S3ResourcePolicyProvider::shared(state.clone()));
    let forms = Arc::new(config.clone());
    config.iam_mode = IamMode::Strict;
    config.policy_evaluator = Some(IamPolicyEvaluatorImpl::shared(users));
    let config = Arc::new(config);

    let service = S3Service::new(state, Arc::new(DeliveryBus::new()));
    let service = service.with_iam_mode(IamMode::Strict).with_credential_resolver(owner);
    let mut registry = ServiceRegistry::new();
    registry.register(Arc::new(service));
    let registry = Arc::new(registry);
    Ok(Router::new().fallback(move |from, query, request: Request| {
        // the signature of a form is one of its fields, which only the service reads
        let config = if is_form(&request) { &forms } else { &config };
        answer(registry.clone(), config.clone(), from, query, request)
    }))
}

fn is_form(request: &Request) -> bool {
    let kind = request.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    request.method() == "POST" && kind.is_some_and(|kind| kind.starts_with("multipart/form-data"))
}

/// Reads a request to its end before it answers it, since clients take a refusal in the middle of
/// their body for a connection that broke.
async fn answer(
    registry: Arc<ServiceRegistry>,
    config: Arc<DispatchConfig>,
    from: ConnectInfo<SocketAddr>,
    query: Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let request = Request::from_parts(head, Body::from(body));
    let mut response = dispatch(from, Extension(registry), Extension(config), query, request).await;
    if response.status() == StatusCode::NOT_MODIFIED {
        // it has a body, which nobody may send, and its length, which clients wait for
        response.headers_mut().remove("content-length");
        *response.body_mut() = Body::empty();
    }
    response
}
