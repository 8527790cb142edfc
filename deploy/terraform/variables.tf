variable "project" {
  description = "ID of the project that everything is made in."
  type        = string
}

variable "region" {
  description = "Region of the workers, the bucket and the images; that of the input bucket, or each read is paid for."
  type        = string
  default     = "us-central1"
}

variable "input_bucket" {
  description = "Existing bucket with the images, which workers may only read."
  type        = string
}

variable "submitter" {
  description = "Who starts jobs, such as user:ann@example.com or group:data@example.com."
  type        = string
}

variable "image_tag" {
  description = "Tag of the images that cloudbuild.yaml pushes."
  type        = string
  default     = "0.1.0"
}
