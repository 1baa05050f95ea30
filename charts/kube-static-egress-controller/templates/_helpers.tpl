{{- define "ksec.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The release's name where it says what it is already. */}}
{{- define "ksec.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "ksec.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "ksec.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "ksec.selector" -}}
app.kubernetes.io/name: {{ include "ksec.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ksec.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "ksec.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "ksec.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "ksec.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "ksec.lease" -}}
{{- default (include "ksec.fullname" .) .Values.leaderElection.resourceName }}
{{- end }}

{{- define "ksec.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Settings that contradict each other, told before anything is installed. */}}
{{- define "ksec.check" -}}
{{- if and (eq .Values.provider "aws") (not .Values.zones) }}
{{- fail "zones: provider aws needs at least one {zone, natCidr}" }}
{{- end }}
{{- if and (eq .Values.provider "aws") (not .Values.clusterId) }}
{{- fail "clusterId: provider aws needs it, and no two clusters may have the same. A stack that was made without: first give it the tags kubernetes.io/cluster/ID=owned and kubernetes:application=kube-static-egress-controller" }}
{{- end }}
{{- if and (not .Values.leaderElection.enabled) (gt (int .Values.replicaCount) 1) }}
{{- fail "replicaCount: without leaderElection.enabled there may be one replica only" }}
{{- end }}
{{- if and .Values.annotateConfigMaps (not .Values.leaderElection.enabled) }}
{{- fail "annotateConfigMaps: nothing is written for people without leaderElection.enabled" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) }}
{{- fail "serviceMonitor.enabled: it scrapes the Service, so service.enabled must be true" }}
{{- end }}
{{- end }}

{{/* One --flag=value a line. A setting that is empty leaves its flag out, so that the program's default holds. */}}
{{- define "ksec.args" -}}
{{- $v := .Values }}
- {{ printf "--provider=%s" $v.provider | quote }}
{{- range $flag, $value := dict
  "cluster-id" $v.clusterId
  "cluster-id-tag-prefix" $v.clusterIdTagPrefix
  "controller-id" $v.controllerId
  "namespace" $v.namespace
  "credentials-dir" $v.credentialsDir
  "vpc-id" $v.aws.vpcId
  "cf-template-bucket" $v.aws.templateBucket
  "aws-cfn-role-arn" $v.aws.cfnRoleArn
  "otlp-endpoint" $v.traces.endpoint }}
{{- if $value }}
- {{ printf "--%s=%s" $flag $value | quote }}
{{- end }}
{{- end }}
{{- if $v.maxNetworksPerNamespace }}
- {{ printf "--max-networks-per-namespace=%d" (int $v.maxNetworksPerNamespace) | quote }}
{{- end }}
{{- range $v.masters }}
- {{ printf "--master=%s" . | quote }}
{{- end }}
{{- if $v.usePlatformCredentials }}
- "--use-platform-credentials=true"
{{- end }}
{{- range $v.zones }}
- {{ printf "--aws-az=%s" .zone | quote }}
- {{ printf "--aws-nat-cidr-block=%s" .natCidr | quote }}
{{- end }}
{{- range $key, $value := $v.aws.routeTableTags }}
- {{ printf "--aws-route-table-tag=%s=%s" $key $value | quote }}
{{- end }}
- {{ printf "--aws-route-table-quota=%d" (int $v.aws.routeTableQuota) | quote }}
{{- if $v.aws.allowPrivateRanges }}
- "--allow-private-ranges=true"
{{- end }}
{{- range $key, $value := $v.stack.additionalTags }}
- {{ printf "--additional-stack-tags=%s=%s" $key $value | quote }}
{{- end }}
- {{ printf "--stack-termination-protection=%t" $v.stack.terminationProtection | quote }}
- {{ printf "--stack-policy=%s" $v.stack.policy | quote }}
{{- range $v.stack.removeZones }}
- {{ printf "--remove-zone=%s" . | quote }}
{{- end }}
- {{ printf "--on-empty=%s" $v.stack.onEmpty | quote }}
- {{ printf "--empty-grace-period=%s" $v.stack.emptyGracePeriod | quote }}
- {{ printf "--max-removal=%d" (int $v.stack.maxRemoval) | quote }}
- {{ printf "--resync-interval=%s" $v.stack.resyncInterval | quote }}
- {{ printf "--drift-detection=%s" $v.stack.driftDetection | quote }}
- {{ printf "--drift-interval=%s" $v.stack.driftInterval | quote }}
- {{ printf "--allow-new-eips=%t" $v.stack.allowNewEips | quote }}
{{- with $v.stack.takeOverFrom }}
- {{ printf "--take-over-stack-from=%s" . | quote }}
{{- end }}
{{- if $v.dryRun }}
- "--dry-run=true"
{{- end }}
- {{ printf "--leader-elect=%t" $v.leaderElection.enabled | quote }}
{{- if $v.leaderElection.enabled }}
- {{ printf "--leader-elect-lease-duration=%s" $v.leaderElection.leaseDuration | quote }}
- {{ printf "--leader-elect-renew-deadline=%s" $v.leaderElection.renewDeadline | quote }}
- {{ printf "--leader-elect-retry-period=%s" $v.leaderElection.retryPeriod | quote }}
{{- end }}
- {{ printf "--leader-elect-resource-name=%s" (include "ksec.lease" .) | quote }}
- {{ printf "--log-level=%s" $v.log.level | quote }}
- {{ printf "--log-format=%s" $v.log.format | quote }}
- {{ printf "--address=:%d" (int $v.port) | quote }}
- {{ printf "--status-page=%t" $v.statusPage | quote }}
{{- if $v.annotateConfigMaps }}
- "--annotate-configmaps=true"
{{- end }}
{{- range $v.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* What the pods of the controller and of `helm test` have in common. */}}
{{- define "ksec.pod" -}}
serviceAccountName: {{ include "ksec.serviceAccount" . }}
# Else the Service would put variables into the environment that begin like those of flags.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.extraVolumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* And their containers. */}}
{{- define "ksec.container" -}}
image: {{ include "ksec.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  # The holder of the Lease begins with the pod's name.
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  {{- with .Values.aws.region }}
  - name: AWS_REGION
    value: {{ . | quote }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- with .Values.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A list of texts as CEL has it. */}}
{{- define "ksec.cel" -}}
[{{ range $i, $text := . }}{{ if $i }}, {{ end }}'{{ $text }}'{{ end }}]
{{- end }}

{{/* CEL: a setting of the request's namespace where it has one of its own, else the default. */}}
{{- define "ksec.forNamespace" -}}
{{- $field := .field }}
{{- range $name, $limits := .namespaces }}
{{- if hasKey $limits $field }}
{{- $value := get $limits $field }}
{{- printf "request.namespace == '%s' ? " $name }}
{{- if kindIs "slice" $value }}{{ include "ksec.cel" $value }}{{ else }}{{ int $value }}{{ end }}
{{- " : " }}
{{- end }}
{{- end }}
{{- if kindIs "slice" .default }}{{ include "ksec.cel" .default }}{{ else }}{{ int .default }}{{ end }}
{{- end }}
