CREATE TYPE [dbo].[OrderLineType] AS TABLE
(
	[ProductId] int NOT NULL PRIMARY KEY,
	[Quantity] decimal(18, 4) NOT NULL DEFAULT (1)
)
GO
SET ANSI_NULLS ON
GO
CREATE OR ALTER PROCEDURE [dbo].[ProductLoadAllPaged]
(
	@CategoryIds		nvarchar(MAX) = null,	--a list of category IDs (comma-separated list). e.g. 1,2,3
	@ManufacturerId		int = 0,
	@FeaturedProducts	bit = null,	--0 featured only , 1 not featured only, null - load all products
	@PriceMin			decimal(18, 4) = null,
	@Keywords			nvarchar(4000) = N'it''s, (any)',
	@OrderBy			int,
	@Lines				dbo.OrderLineType READONLY,
	@When				datetime2(3) = NULL,
	@TotalRecords		int = null OUTPUT
)
WITH RECOMPILE, EXECUTE AS OWNER
AS
BEGIN
	SET NOCOUNT ON;
	/* Products that filtered by keywords */
	CREATE TABLE #KeywordProducts ([ProductId] int NOT NULL)
	DECLARE @Seen TABLE ([Id] int NOT NULL PRIMARY KEY, [At] datetime2 DEFAULT SYSUTCDATETIME());
	DECLARE @sql nvarchar(max) = N'ALTER TABLE ' + QUOTENAME(@Keywords) + N' REBUILD';

	;WITH Paged ([Id], [Row]) AS
	(
		SELECT p.[Id], ROW_NUMBER() OVER (ORDER BY p.[Name])
		FROM [dbo].[Product] p WITH (NOLOCK)
			INNER JOIN @Lines l ON l.[ProductId] = p.[Id]
			LEFT JOIN [shop].[Manufacturer] AS m ON m.[Id] = p.[ManufacturerId]
		WHERE (@PriceMin IS NULL OR p.[Price] >= @PriceMin)
	)
	SELECT [Id], [Row] AS [RowNumber], Total = COUNT(*) OVER ()
	FROM Paged
	ORDER BY CASE WHEN @OrderBy = 5 THEN [Id] END DESC
	OPTION (RECOMPILE);
END
GO
CREATE PROCEDURE dbo.OrderPlace @CustomerId int, @Number AS nvarchar(20), @Total decimal(18,2) = 0, @Id int OUTPUT
AS
SET NOCOUNT, XACT_ABORT ON;
BEGIN TRY
	BEGIN TRANSACTION;
	MERGE INTO dbo.[Order] WITH (HOLDLOCK) AS target
	USING (VALUES (@CustomerId, @Number)) AS source (CustomerId, Number)
		ON target.Number = source.Number
	WHEN MATCHED AND target.Total <> @Total THEN
		UPDATE SET Total = @Total
	WHEN NOT MATCHED BY TARGET THEN
		INSERT (CustomerId, Number, Total) VALUES (source.CustomerId, source.Number, @Total)
	OUTPUT $action, inserted.Id;
	COMMIT;
END TRY
BEGIN CATCH
	IF XACT_STATE() <> 0 ROLLBACK TRANSACTION;
	THROW;
END CATCH
GO
ALTER FUNCTION dbo.OrdersOf (@CustomerId int, @Since date = '2020-01-01') RETURNS TABLE WITH SCHEMABINDING
AS RETURN (SELECT o.Id, o.Number, o.Total FROM dbo.[Order] AS o WHERE o.CustomerId = @CustomerId AND o.Placed >= @Since)
GO
CREATE FUNCTION dbo.FullName (@First nvarchar(50), @Last nvarchar(50)) RETURNS nvarchar(101) AS
BEGIN
	RETURN @First + N' ' + @Last
END
GO
CREATE TRIGGER [dbo].[trOrderAudit] ON [dbo].[Order] AFTER INSERT, UPDATE AS
BEGIN
	IF (ROWCOUNT_BIG() = 0) RETURN;
	INSERT INTO [audit].[Order] ([Id], [At]) SELECT [Id], SYSUTCDATETIME() FROM inserted;
	IF EXISTS (SELECT 1 FROM inserted WHERE [Total] < 0) THROW 50001, 'A total is below zero', 1;
END
GO
CREATE VIEW [dbo].[OrderOverview] WITH SCHEMABINDING AS
SELECT o.[Id], [Customer] = c.[Name], o.[Total] AS 'Sum', COUNT_BIG(*) AS [Lines]
FROM [dbo].[Order] o JOIN [dbo].[Customer] c ON c.[Id] = o.[CustomerId]
GROUP BY o.[Id], c.[Name], o.[Total]
GO
GRANT EXECUTE ON [dbo].[ProductLoadAllPaged] TO [shop_web]
GO
