//! Triton's extensions of the protocol: what of them pipelines have, as messages, and what they have no use for.

use axum::Router;
use axum::routing::post;
use tidegate_proto::inference as pb;
use tonic::Status;

use super::super::response::refusal;
use crate::links::kserve::statistics::{Figures, Total};
use crate::links::kserve::{model, unserved};

/// Triton's methods that pipelines have no use for, with what to do instead.
const UNSERVED: [(&str, &str); 4] = [
    (
        "RepositoryModelLoad RepositoryModelUnload",
        unserved::LOADING,
    ),
    (
        "SystemSharedMemoryStatus SystemSharedMemoryRegister SystemSharedMemoryUnregister CudaSharedMemoryStatus CudaSharedMemoryRegister CudaSharedMemoryUnregister",
        unserved::MEMORY,
    ),
    ("TraceSetting", unserved::TRACES),
    ("LogSettings", unserved::LOGS),
];

/// The routes of these: `UNIMPLEMENTED`, in words.
pub(super) fn unserved() -> Router {
    let mut router = Router::new();
    for (names, text) in UNSERVED {
        for name in names.split(' ') {
            let path = format!("/inference.GRPCInferenceService/{name}");
            let refuse = move || async move { refusal(&Status::unimplemented(text)) };
            router = router.route(&path, post(refuse));
        }
    }
    router
}

/// A model as Triton's configuration says it.
pub(super) fn config(model: model::Model) -> pb::ModelConfig {
    let kind = |datatype: &str| {
        let name = model::config_type(datatype);
        pb::DataType::from_str_name(&name)
            .unwrap_or_default()
            .into()
    };
    let input = |tensor: model::Tensor| pb::ModelInput {
        data_type: kind(tensor.datatype),
        name: tensor.name,
        dims: tensor.shape.to_vec(),
        optional: true,
    };
    let output = |tensor: model::Tensor| pb::ModelOutput {
        data_type: kind(tensor.datatype),
        name: tensor.name,
        dims: tensor.shape.to_vec(),
    };
    let parameter = |(name, string_value)| (name, pb::ModelParameter { string_value });
    let latest = pb::model_version_policy::Latest { num_versions: 1 };
    pb::ModelConfig {
        name: model.name,
        platform: model.platform.to_owned(),
        backend: model.platform.to_owned(),
        version_policy: Some(pb::ModelVersionPolicy {
            policy_choice: Some(pb::model_version_policy::PolicyChoice::Latest(latest)),
        }),
        max_batch_size: 0,
        input: model.inputs.into_iter().map(input).collect(),
        output: model.outputs.into_iter().map(output).collect(),
        parameters: model.parameters.into_iter().map(parameter).collect(),
        model_transaction_policy: Some(pb::ModelTransactionPolicy { decoupled: false }),
    }
}

/// What is told of a model's requests.
pub(super) fn figures(figures: Figures) -> pb::ModelStatistics {
    let of = |Total { count, ns }| Some(pb::StatisticDuration { count, ns });
    let stats = figures.inference_stats;
    pb::ModelStatistics {
        name: figures.name,
        version: figures.version.to_owned(),
        last_inference: figures.last_inference,
        inference_count: figures.inference_count,
        execution_count: figures.execution_count,
        inference_stats: Some(pb::InferStatistics {
            success: of(stats.success),
            fail: of(stats.fail),
            queue: of(stats.queue),
            compute_input: of(stats.compute_input),
            compute_infer: of(stats.compute_infer),
            compute_output: of(stats.compute_output),
            cache_hit: of(stats.cache_hit),
            cache_miss: of(stats.cache_miss),
        }),
    }
}
