output "bucket" {
  description = "Bucket of results, temporary files and the template."
  value       = google_storage_bucket.results.name
}

output "repository" {
  description = "Where the images are pushed."
  value       = local.repository
}

output "worker_account" {
  description = "Identity of workers and launcher."
  value       = google_service_account.worker.email
}

output "builder_account" {
  description = "Identity of the image build, as gcloud wants it."
  value       = google_service_account.builder.id
}

output "subnetwork" {
  description = "Network of the workers."
  value       = "regions/${var.region}/subnetworks/${google_compute_subnetwork.workers.name}"
}

output "template" {
  description = "The Flex Template."
  value       = "gs://${google_storage_bucket.results.name}/${google_storage_bucket_object.template.name}"
}
